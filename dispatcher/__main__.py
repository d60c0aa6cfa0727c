"""python -m dispatcher"""

from dispatcher.cli.app import main

if __name__ == "__main__":
    main()
