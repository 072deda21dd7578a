"""What several importers share; --importer does not look for importers here."""
