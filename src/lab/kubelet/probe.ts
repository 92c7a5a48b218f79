import { request, type OutgoingHttpHeaders } from 'node:http';
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
