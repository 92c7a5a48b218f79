/** The first program in the lab's namespaces: loads the test file, whose `labSuite` then serves its tests over IPC. */
await import(process.argv[2] ?? '');
