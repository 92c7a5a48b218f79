import type { Socket as DatagramSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { answerDial } from '../../forwarder/answer.ts';
import { canonicalAddress } from '../../simulator/dns/records.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { PortProtocol } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { IncomingAssociation, IncomingStream, LocalHello, OpenRequest } from '../../tunnel/index.ts';
import type { FlowEntry, FlowTable } from '../flows/flow-table.ts';
import { listedIncoming } from '../flows/listed-association.ts';
import { whyEnded } from '../flows/why-ended.ts';
import { PodLink, type LinkedPod, type LinkEvent } from '../links/pod-link.ts';
import type { Notices } from '../links/notices.ts';
import { targetKey } from '../links/targets.ts';
import { answerDatagramsFrom, answerLocalDatagrams, dialLocal } from './local-server.ts';
import type { PodRoutes, Route } from './routes.ts';

export interface InterceptionOptions {
  readonly cluster: Cluster;
  readonly hello: LocalHello;
  readonly pods: readonly PodRoutes[];
  /** Claimed in every pod: the workload's own calls of these addresses. */
  readonly outbound?: readonly Route[];
  readonly onEvent: (pod: string, event: LinkEvent) => void;
  readonly notices: Notices;
  /** Called when all pods are connected to, before the first claim; a rejection ends the start. */
  readonly beforeClaims?: (links: readonly PodLink[], options: AbortOptions) => Promise<void>;
  /** Called for a pod that came after the start, when it is claimed for the first time; `options` abort when it is not asked for any more. */
  readonly afterJoining?: (pod: PodRoutes, links: readonly PodLink[], options: AbortOptions) => Promise<void>;
  /** The last pod has gone. Others are taken in when they come. */
  readonly onEmpty?: () => void;
  /** Resolves when local servers may be dialled: `run` holds callers back until its command listens for the first time. */
  readonly beforeDial?: (localPort: number, signal: AbortSignal) => Promise<void>;
  /** Connects to a local server; rejects with a DialError. Default: `dialLocal`. */
  readonly dial?: (localPort: number, options: AbortOptions) => Promise<Socket>;
  /** Makes the UDP sockets by which datagrams are delivered. Default: of this machine; `run`: of its command's network. */
  readonly openDatagrams?: () => Promise<DatagramSocket>;
  /** Where the flows are listed. */
  readonly flows?: FlowTable;
}

/**
 * The claims of one `kpctl` on one workload: a link to every pod, all or nothing at the start, and the answer to every
 * flow that the pods send here.
 */
export class Interception implements Closeable {
  readonly #links = new Map<string, PodLink>();
  readonly #options: InterceptionOptions;
  #outbound: ReadonlyMap<string, Route>;
  #active = 0;
  #draining = false;
  #whenIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  readonly #ending = new AbortController();
  /** What goes on beside: links that end, pods that are looked at after they have joined. */
  readonly #beside = new Set<Promise<void>>();

  private constructor(options: InterceptionOptions) {
    this.#options = options;
    this.#outbound = byTarget(options.outbound ?? []);
    for (const pod of options.pods) this.#add(pod);
  }

  /** To the pods of now. */
  get links(): readonly PodLink[] {
    return [...this.#links.values()];
  }

  /** Whether there is a link to this very pod: another one of the same name does not count. */
  has({ name, uid }: Pick<LinkedPod, 'name' | 'uid'>): boolean {
    const link = this.#links.get(name);
    return link !== undefined && (uid === undefined || link.pod.uid === undefined || link.pod.uid === uid);
  }

  /** Takes in a pod that came after the start: what fails there is tried again, and ends nothing. */
  join(pod: PodRoutes): void {
    if (this.#closing !== undefined || this.#draining || this.has(pod.pod)) return;
    const before = this.#links.get(pod.pod.name);
    if (before === undefined) this.#join(pod);
    // Its link may have come through to the new one: that session ends before another begins.
    else this.#goOn(before.finish().then(() => this.join(pod)));
  }

  /** A pod that is being deleted: it is left when its kpeering ends, and until then nothing changes. */
  deleting(pod: Pick<LinkedPod, 'name' | 'uid'>): void {
    if (this.has(pod)) this.#links.get(pod.name)?.expectDeletion();
  }

  /** A pod that is over although its object stays (Succeeded, Failed): it is left. */
  finished(pod: Pick<LinkedPod, 'name' | 'uid'>): void {
    const link = this.has(pod) ? this.#links.get(pod.name) : undefined;
    if (link !== undefined) this.#goOn(link.finish());
  }

  #join(pod: PodRoutes): void {
    let joined = false;
    const link = this.#add(pod, (event) => {
      if (event.kind !== 'joined' || joined) return;
      joined = true;
      const { afterJoining } = this.#options;
      if (afterJoining !== undefined) this.#goOn(afterJoining(pod, this.links, { signal: this.#ending.signal }));
    });
    link.join([...pod.routes, ...this.#outbound.values()].map(({ target }) => target));
  }

  /** Rejections are those of an abort: nobody asks any more. */
  #goOn(work: Promise<void>): void {
    const done: Promise<void> = work.catch(() => undefined).finally(() => this.#beside.delete(done));
    this.#beside.add(done);
  }

  /** Other addresses of the workload's own calls: claims what is new, and gives back what is gone. Flows that are open go on. */
  setOutbound(routes: readonly Route[]): void {
    if (this.#closing !== undefined || this.#draining) return;
    const before = this.#outbound;
    this.#outbound = byTarget(routes);
    for (const link of this.links) {
      for (const [key, { target }] of before) if (!this.#outbound.has(key)) void link.release(target);
      for (const [key, { target }] of this.#outbound) if (!before.has(key)) void link.claimToo(target);
    }
  }

  #add({ pod, routes }: PodRoutes, listener?: (event: LinkEvent) => void): PodLink {
    const { cluster, hello, onEvent } = this.#options;
    const inbound = byTarget(routes);
    const link = new PodLink({
      cluster,
      pod,
      hello,
      onIncoming: (stream) => void this.#answer(stream, pod.name, inbound),
      onAssociation: (association) => void this.#answerDatagrams(association, pod.name, inbound),
      onEvent: (event) => {
        if (event.kind === 'gone') this.#links.delete(pod.name);
        onEvent(pod.name, event);
        listener?.(event);
        if (event.kind === 'gone' && this.#links.size === 0 && this.#closing === undefined) this.#options.onEmpty?.();
      },
    });
    this.#links.set(pod.name, link);
    return link;
  }

  /** Connects to every pod and takes every claim; if one fails, all are given back and the failure is the caller's. */
  static async start(options: InterceptionOptions, abort: AbortOptions = {}): Promise<Interception> {
    const interception = new Interception(options);
    try {
      await Promise.all(interception.links.map((link) => link.connect(abort)));
      await options.beforeClaims?.(interception.links, abort);
      // one pod after the other, so that two laptops that start at once do not each hold half
      for (const { pod, routes } of options.pods) {
        const link = interception.#links.get(pod.name);
        for (const { target } of [...routes, ...(options.outbound ?? [])]) await link?.claim(target, abort);
      }
      return interception;
    } catch (error) {
      await interception.close();
      throw error;
    }
  }

  /** Connections that are being answered here now. */
  get activeFlows(): number {
    return this.#active;
  }

  /** Stops claiming and waits until the active connections have ended, or the signal aborts. */
  async drain(options: AbortOptions): Promise<void> {
    this.#draining = true;
    await Promise.all(this.links.map((link) => link.releaseAll(options)));
    if (this.#active === 0 || options.signal?.aborted === true) return;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
      options.signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Ends the claims at once, and the flows. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#ending.abort(new Error('the interception was closed'));
    await Promise.all([...this.links.map((link) => link.close()), ...this.#beside]);
  }

  #localPort(request: OpenRequest, protocol: PortProtocol, inbound: ReadonlyMap<string, Route>): number | undefined {
    if (request.kind !== 'claimed') return undefined;
    const { address, port } = request.destination;
    if (request.outbound !== true) return inbound.get(targetKey({ protocol, port }))?.local;
    return this.#outbound.get(targetKey({ protocol, port, address: canonicalAddress(address) }))?.local;
  }

  /** A flow that has come for a local server, in the list of flows. */
  #listed({ source, destination }: OpenRequest, protocol: PortProtocol, local: number): FlowEntry | undefined {
    const { flows } = this.#options;
    if (flows === undefined || source === undefined) return undefined;
    return flows.open({ direction: 'in', protocol, source, destination, program: { local: { address: '127.0.0.1', port: local } } });
  }

  #dialled(entry: FlowEntry | undefined, socket: Socket, pod: string): void {
    if (entry === undefined) return;
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    if (remoteAddress !== undefined && remotePort !== undefined && localAddress !== undefined && localPort !== undefined) {
      entry.at({ local: { address: remoteAddress, port: remotePort }, remote: { address: localAddress, port: localPort } });
    }
    entry.counted(socket);
    entry.opened(this.#podLabel(pod));
  }

  #podLabel(pod: string): string {
    return `${this.#links.get(pod)?.pod.namespace ?? ''}/${pod}`;
  }

  async #answer(stream: IncomingStream, pod: string, inbound: ReadonlyMap<string, Route>): Promise<void> {
    const { request } = stream;
    const local = this.#localPort(request, 'tcp', inbound);
    if (local === undefined) {
      stream.refuse('denied', 'this laptop claims no such port');
      return;
    }
    this.#active += 1;
    const entry = this.#listed(request, 'tcp', local);
    try {
      const result = await answerDial(
        stream,
        { address: '127.0.0.1', port: local },
        {
          dial: async (_destination, options) => {
            await this.#options.beforeDial?.(local, stream.signal);
            const socket = await (this.#options.dial ?? dialLocal)(local, options);
            this.#dialled(entry, socket, pod);
            return socket;
          },
        },
      );
      entry?.ended(
        result.kind === 'spliced' ? whyEnded(result.result.ended) : result.kind === 'refused' ? result.message : 'the caller gave up',
      );
      if (result.kind === 'refused') {
        this.#options.notices.once(`refused ${local}`, `${flowLabel(request, pod)} was reset: 127.0.0.1:${local}: ${result.message}`);
      }
    } finally {
      this.#active -= 1;
      if (this.#active === 0) this.#whenIdle?.();
    }
  }

  async #answerDatagrams(association: IncomingAssociation, pod: string, inbound: ReadonlyMap<string, Route>): Promise<void> {
    const { openDatagrams, notices } = this.#options;
    const { request } = association;
    const local = this.#localPort(request, 'udp', inbound);
    if (local === undefined) {
      association.refuse('denied', 'this laptop claims no such port');
      return;
    }
    const entry = this.#listed(request, 'udp', local);
    entry?.opened(this.#podLabel(pod));
    const listed = listedIncoming(association, entry);
    const failed = await (openDatagrams === undefined
      ? answerLocalDatagrams(listed, local)
      : answerDatagramsFrom(openDatagrams, listed, local));
    entry?.ended(failed?.message);
    if (failed !== undefined) {
      notices.once(`undelivered ${local}`, `datagrams to ${pod} could not be delivered to 127.0.0.1:${local}/udp: ${failed.message}`);
    }
  }
}

function byTarget(routes: readonly Route[]): ReadonlyMap<string, Route> {
  return new Map(routes.map((route): [string, Route] => [targetKey(route.target), route]));
}

/** `a connection from 10.244.0.7 to web-1`, `a connection from web-1 to 10.96.0.7:5432`. */
function flowLabel(request: OpenRequest, pod: string): string {
  if (request.kind !== 'claimed') return 'a connection';
  const { destination, source, outbound } = request;
  return outbound === true
    ? `a connection from ${pod} to ${destination.address}:${destination.port}`
    : `a connection from ${source.address} to ${pod}`;
}
