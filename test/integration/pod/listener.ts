import { listenRedirect } from '../../../src/interceptor/index.ts';
import { silentLogger } from '../../../src/platform/log.ts';

/** Prints the original destination of each flow that reaches `host` `port`, its arguments, and `ready` first. */
const [host = '', port = ''] = process.argv.slice(2);
await listenRedirect({
  host,
  port: Number(port),
  onFlow: ({ socket, source, destination }) => {
    process.stdout.write(`${JSON.stringify({ source: source.address, destination })}\n`);
    socket.end();
  },
  log: silentLogger,
});
process.stdout.write('ready\n');
