"""One file a back-end. Nothing here is imported until the registry is asked for it."""
