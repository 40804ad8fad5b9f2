"""Plans for clusters whose node groups differ: in their GPUs, or in the network that joins their nodes.

``islands`` describes them, ``space`` states which configurations exist on them, ``bounds`` what none of a family is
below, ``members`` and ``shares`` spell a family out, ``ground`` lays one on the machines, ``search`` finds and proves
the best, ``baselines`` prices what a planner that overlooks the differences would have done.
"""
