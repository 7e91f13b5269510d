"""The variables that libraries, loaders and interpreters read, each judged by its value and by its effect."""
