import { readdirSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JsonLines } from '../../cluster/json-lines.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { runtimeDirectory } from '../../platform/runtime-directory.ts';
import { UP_SOCKET } from '../control/client.ts';
import { flowLineSchema, type FlowLine } from './flow-messages.ts';

/** How long a kpctl may take to begin its answer. */
const ANSWER_MILLISECONDS = 2_000;

/** The control sockets of this user's running kpctl processes; of root's, those of all users. */
export function controlSockets(): string[] {
  return controlFolders().flatMap((folder) =>
    entriesOf(folder)
      .filter((name) => name === UP_SOCKET || /^\d+\.sock$/.test(name))
      .map((name) => join(folder, name)),
  );
}

/**
 * What a kpctl tells of its flows, line by line; with `watch` until the signal aborts or it ends. Throws where nobody listens there, it does not answer in time,
 * or what it says is nothing of ours.
 */
export async function* askFlows(path: string, watch: boolean, { signal }: AbortOptions = {}): AsyncGenerator<FlowLine> {
  const response = await answerOf(path, watch ? '/flows?watch' : '/flows', signal);
  const lines = new JsonLines();
  try {
    for await (const chunk of response) {
      if (!Buffer.isBuffer(chunk)) continue;
      for (const line of lines.read(chunk)) yield flowLineSchema.parse(line);
    }
  } finally {
    response.destroy();
  }
}

async function answerOf(path: string, url: string, signal: AbortSignal | undefined): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    const late = deadline(ANSWER_MILLISECONDS);
    const request = httpRequest({ socketPath: path, path: url, ...(signal !== undefined && { signal }) }, (response) => {
      late.removeEventListener('abort', giveUp);
      if (response.statusCode === 200) resolve(response);
      else reject(new Error(`HTTP status ${response.statusCode}: it is of an older version`));
    });
    const giveUp = (): void => void request.destroy(new Error('no answer in time'));
    late.addEventListener('abort', giveUp, { once: true });
    request.on('error', reject);
    request.end();
  });
}

/** Where control sockets are. */
export function controlFolders(): string[] {
  const own = runtimeDirectory();
  if (process.getuid?.() !== 0) return [own];
  const others = [
    ...entriesOf('/run/user').map((user) => join('/run/user', user, 'kpctl')),
    ...entriesOf(tmpdir())
      .filter((name) => /^kpctl-\d+$/.test(name))
      .map((name) => join(tmpdir(), name)),
  ];
  return [...new Set([own, ...others])];
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
