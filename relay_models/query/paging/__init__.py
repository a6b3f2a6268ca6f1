"""Pagination: orders, keyset positions, and the pager that reads page after page."""
