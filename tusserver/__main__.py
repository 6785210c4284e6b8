"""python -m tusserver"""

from tusserver.cli import main

if __name__ == "__main__":
    main()
