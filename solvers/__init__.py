"""How to choose: numbers in, a solution with a bound out."""
