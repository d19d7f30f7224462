"""Pictures; importing one of these modules imports matplotlib."""
