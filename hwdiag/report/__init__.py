"""What a person sees is made of: sections, tables, figures, drawings, and the page."""
