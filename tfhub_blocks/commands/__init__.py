"""The command line's commands, a module for each group: they parse, print and delegate."""
