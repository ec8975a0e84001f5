"""Rows, claims, figures and reports behind ./paper/reproduce. All but `figures` is standard library."""
