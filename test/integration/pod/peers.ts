import type { IncomingStream, OpenRequest, TunnelStream } from '../../../src/tunnel/index.ts';
import { Recorder } from '../../unit/tunnel/pair.ts';
import { podAddress, textOf, type Pod } from './pod.ts';

/** A laptop's process that says where it is, and what it heard, after the caller's half-close. */
export function laptopProcess(name: string, requests: OpenRequest[] = []): (incoming: IncomingStream) => void {
  return (incoming) => {
    requests.push(incoming.request);
    const stream = incoming.accept();
    void answerAtEnd(stream, new Recorder(stream), name);
  };
}

async function answerAtEnd(stream: TunnelStream, recorder: Recorder, name: string): Promise<void> {
  if ((await recorder.finished) !== 'end') return;
  stream.write(Buffer.from(`${name} heard ${recorder.text}`));
  stream.end();
}

/** What a caller outside the pod is answered. */
export async function ask(pod: Pod, port: number, text = 'x', host = podAddress): Promise<string> {
  const socket = await pod.call(port, host);
  socket.end(text);
  return textOf(socket);
}
