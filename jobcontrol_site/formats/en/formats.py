"""Dates and times as our own pages write them (ISO 8601), and weeks that begin on Monday."""

DATE_FORMAT = SHORT_DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "Y-m-d H:i:s"
TIME_FORMAT = "H:i:s"
FIRST_DAY_OF_WEEK = 1
