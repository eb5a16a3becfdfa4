from leechcodec.apps.cli import main

main()
