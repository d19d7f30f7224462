"""Names, types, units and bounds of every key: `common` of every run, and a module for what each recipe adds."""
