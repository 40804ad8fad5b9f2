"""What ended a solver's run, in words."""

ENDED = {
    "exhausted": "nothing left to try",
    "gap": "value and bound agree",
    "time_limit": "ended by the time limit",
    "evaluation_limit": "ended by the evaluation limit",
    "interrupted": "interrupted",
}
