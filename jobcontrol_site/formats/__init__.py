"""How dates are written on the admin's own pages."""
