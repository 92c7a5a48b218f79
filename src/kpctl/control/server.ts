import type { RequestListener, ServerResponse } from 'node:http';
import { unlinkSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { createServer } from '../../platform/http.ts';
import type { Closeable } from '../../platform/owned.ts';
import { runtimeDirectory } from '../../platform/runtime-directory.ts';
import type { LeaveAnswer, StatusReport, UpStatus } from './messages.ts';

export interface ControlHandlers {
  status(): StatusReport | UpStatus | undefined;
  /** Begins to stop, as Ctrl-C does, but with exit code 0. */
  leave(): void;
  /** Tells this process's flows, one JSON object a line; `watch`: until the reader goes away. */
  flows?(response: ServerResponse, watch: boolean): void;
}

/** Serves this process's control socket, by default `PID.sock` in the runtime directory, until closed. */
export async function serveControl(handlers: ControlHandlers, name: string = `${process.pid}.sock`): Promise<Closeable> {
  const path = join(runtimeDirectory(), name);
  const listener: RequestListener = (request, response) => {
    const answer = (status: number, body: StatusReport | UpStatus | LeaveAnswer | { error: string }): void => {
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(body));
    };
    const status = request.method === 'GET' && request.url === '/status' ? handlers.status() : undefined;
    if (status !== undefined) answer(200, status);
    else if (request.method === 'POST' && request.url === '/leave') {
      // Stops only once the answer is on its way: stopping closes this socket.
      response.once('finish', () => handlers.leave());
      answer(200, { left: true });
    } else if (handlers.flows !== undefined && request.method === 'GET' && /^\/flows(\?watch)?$/.test(request.url ?? '')) {
      handlers.flows(response, request.url === '/flows?watch');
    } else answer(404, { error: 'unknown request' });
  };
  const server = createServer(listener);
  removeFile(path); // of an earlier process with this id
  server.listen(path);
  await once(server, 'listening');
  server.unref();
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closing ??= new Promise((resolve) => {
      server.close(() => resolve()); // Node removes the socket's file
      server.closeAllConnections();
    }));
  return { close, [Symbol.asyncDispose]: close };
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // it was not there
  }
}
