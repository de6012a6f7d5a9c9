"""Sums the column of a CSV file: python3 src/main.py data/2026/rain.csv"""

import sys

from lib.table import column

print(sum(column(sys.argv[1], 1)))
