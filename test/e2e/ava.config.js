export default {
  files: ['test/e2e/**/*.test.ts'],
  extensions: ['ts'],
  // one after the other: the files share one small cluster and one host that is the laptop
  concurrency: 1,
  serial: true,
  timeout: '4m',
  workerThreads: false,
};
