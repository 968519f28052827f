"""`python -m cxray`."""

from cxray.cli import main

if __name__ == "__main__":
    main()
