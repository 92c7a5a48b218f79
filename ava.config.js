/**
 * The tests of `npm test`. Those of `kpctl up` start processes of several users, real system services and a root helper: an ordinary user's run leaves
 * them out, and says so.
 */
const needRoot = ['test/integration/machine/**', 'test/integration/names/**', 'test/integration/kpctl/up.test.ts'];
const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write(`left out, because they need root (sudo npm test): ${needRoot.join(', ')}\n`);

export default {
  concurrency: 2,
  extensions: ['ts'],
  files: ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts', ...(isRoot ? [] : needRoot.map((pattern) => `!${pattern}`))],
  timeout: '2m',
};
