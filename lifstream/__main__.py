"""``python -m lifstream``."""

from lifstream.cli import main

if __name__ == "__main__":
    main()
