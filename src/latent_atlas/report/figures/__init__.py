"""The figures of a report, each drawn from an atlas or a map."""
