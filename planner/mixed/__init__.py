"""Plans for clusters whose node groups differ: in their GPUs, or in the network that joins their nodes.

``islands`` describes them, ``space`` states which configurations exist on them. What none of a family is below:
``rough_bound`` by its passes alone, ``bounds`` with memory and with ``state_bound``, what keeps replicas equal.
``members`` spells a family out, ``chain_bound`` bounds each member, ``ground`` lays one on the machines, ``search``
finds and proves the best, ``infeasibility`` says why there is none, ``baselines`` prices what a planner that overlooks
the differences would have done.
"""
