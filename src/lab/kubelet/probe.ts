import { request, type OutgoingHttpHeaders } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import type { Container, Probe } from '../objects/schemas.ts';
import { runProgram } from '../run.ts';

export interface ProbeTarget {
  readonly address: string;
  readonly container: Container;
  /** Put before a program that runs in the pod. */
  readonly prefix: readonly string[];
}

/** One try of a probe, from the node, as the kubelet makes it; never rejects. */
export async function tryProbe(probe: Probe, target: ProbeTarget, signal: AbortSignal): Promise<boolean> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(probe.timeoutSeconds * 1000)]);
  const number = (port: number | string): number =>
    typeof port === 'number' ? port : (target.container.ports.find(({ name }) => name === port)?.containerPort ?? 0);
  if (probe.httpGet !== undefined) return await httpGet(target.address, number(probe.httpGet.port), probe.httpGet, limited);
  if (probe.tcpSocket !== undefined) return await tcpConnect(target.address, number(probe.tcpSocket.port), limited);
  if (probe.grpc !== undefined) return await grpcServing(target.address, probe.grpc.port, probe.grpc.service ?? '', limited);
  if (probe.exec === undefined) return true;
  return (await runProgram([...target.prefix, ...probe.exec.command], { signal: limited })).code === 0;
}

function tcpConnect(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal });
    socket.on('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', () => resolve(false));
  });
}

/** grpc.health.v1.Health/Check over cleartext HTTP/2 (GRPC Health Checking Protocol): true for SERVING. */
function grpcServing(host: string, port: number, service: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${host}:${port}`);
    let status: unknown;
    const finish = (good: boolean): void => {
      signal.removeEventListener('abort', abort);
      resolve(good);
      session.destroy();
    };
    const abort = (): void => finish(false);
    signal.addEventListener('abort', abort);
    session.on('error', abort);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': 'kube-probe/1.35',
    });
    let answer = Buffer.alloc(0);
    stream.on('error', abort).on('data', (chunk: Buffer) => (answer = Buffer.concat([answer, chunk])));
    stream.on('trailers', (trailers: Readonly<Record<string, unknown>>) => (status = trailers['grpc-status']));
    // HealthCheckResponse { ServingStatus status = 1; }, SERVING = 1.
    stream.on('close', () => finish(status === '0' && answer.subarray(5).equals(Buffer.from([0x08, 0x01]))));
    // HealthCheckRequest { string service = 1; }, behind gRPC's prefix: not compressed, length.
    const name = Buffer.from(service);
    const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

function httpGet(host: string, port: number, { path, httpHeaders }: NonNullable<Probe['httpGet']>, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const headers: OutgoingHttpHeaders = { 'user-agent': 'kube-probe/1.35', connection: 'close' };
    for (const { name, value } of httpHeaders) headers[name] = value;
    const sent = request({ host, port, path, signal, agent: false, headers }, (response) => {
      const status = response.statusCode ?? 0;
      response.on('error', () => undefined);
      response.destroy();
      resolve(status >= 200 && status < 400);
    });
    sent.on('error', () => resolve(false));
    sent.end();
  });
}
