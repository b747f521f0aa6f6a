"""python run.py -m strategy=icl,numeric decode=ppl — see README.md, or --help."""

from genclspp.cli.main import main

if __name__ == "__main__":
    main()
