"""All questions of one run, in one record and one report: the one package that composes topics."""
