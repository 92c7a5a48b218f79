import { connect } from 'node:net';

/**
 * Makes connections, many at a time, each new, until its standard input ends; then prints how they went as JSON (CallersReport).
 * Arguments: host, port, how many at a time.
 */
export interface CallersReport {
  /** By what the far end said. */
  readonly answers: Record<string, number>;
  /** By error code, and where. */
  readonly failures: Record<string, number>;
}

const report: CallersReport = { answers: {}, failures: {} };
const input = process.stdin.resume();

async function call(host: string, port: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let text = '';
  let connected = false;
  const socket = connect({ host, port });
  socket.on('connect', () => (connected = true));
  socket.on('data', (chunk) => (text += String(chunk)));
  socket.on('error', (error) => {
    const key = `${'code' in error ? String(error.code) : error.message} ${connected ? 'after' : 'before'} connect, ${text.length} bytes`;
    report.failures[key] = (report.failures[key] ?? 0) + 1;
  });
  socket.on('close', (failed) => {
    if (!failed) report.answers[text] = (report.answers[text] ?? 0) + 1;
    resolve();
  });
  await promise;
}

async function caller(host: string, port: number): Promise<void> {
  while (!input.readableEnded) await call(host, port);
}

const [host = '', port = '', atATime = '1'] = process.argv.slice(2);
await Promise.all(Array.from({ length: Number(atATime) }, async () => caller(host, Number(port))));
process.stdout.write(JSON.stringify(report));
