"""Question data sets, the official SQuAD scores, ROUGE, and confidence intervals clustered by article."""
