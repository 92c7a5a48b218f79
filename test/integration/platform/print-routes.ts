/** Prints the routes as JSON: now, and again after each change. */
import { formatRoute, watchRoutes } from '../../../src/platform/routes.ts';
import { silentLogger } from '../../../src/platform/log.ts';

await using watch = watchRoutes({ log: silentLogger, pollMilliseconds: 20 });
const print = (): void => {
  const lines = watch.routes.map((route) => `${formatRoute(route)} ${route.deviceKind ?? '-'}`);
  process.stdout.write(`${JSON.stringify(lines)}\n`);
};
watch.onChange(print);
print();
process.stdin.resume();
await new Promise((resolve) => process.stdin.once('end', resolve));
