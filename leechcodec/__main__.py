from leechcodec.cli import main

main()
