"""The parts of every report: sections, tables, figures, drawings, and the page."""
