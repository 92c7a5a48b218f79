import type { Socket } from 'node:net';
import { NftSession } from '../../../interceptor/nft-session.ts';
import { Failure, messageOf } from '../../../platform/errors.ts';
import type { Logger } from '../../../platform/log.ts';
import type { Closeable } from '../../../platform/owned.ts';
import { requireProgram } from '../../../platform/programs.ts';
import { destroyTcpSockets } from '../../../platform/socket-diagnostics.ts';
import { carryDatagrams } from '../../datagrams/carry.ts';
import { run } from '../../network/inside/run.ts';
import { machineAddresses as addresses } from '../addresses.ts';
import { parseNetworks } from '../networks.ts';
import { journalKeys } from '../journal.ts';
import { networkRoutes, policyRules, routeChanges, ruleArguments, type PolicyRule } from '../routes.ts';
import { captureRules, setStatements } from '../rules.ts';
import type { CapturedNetworks, Journal } from '../types.ts';
import { Answerable } from './answerable.ts';
import { Device, machineFamilies } from './device.ts';
import { openListeners, type CaptureListeners } from './listeners.ts';

export interface CaptureOptions {
  readonly journal: Journal;
  readonly networks: CapturedNetworks;
  /** The pipe to the agent, of datagrams. */
  readonly datagrams: Socket;
  /** Hands the listeners to the agent, before anything is captured. */
  readonly handOver: (listeners: CaptureListeners) => Promise<void>;
  readonly log: Logger;
}

/** The machine's network, captured: our device, routes, rules and listeners. Calls of `change` must not overlap. */
export class Capture implements Closeable {
  readonly #ip: string;
  readonly #log: Logger;
  readonly #journal: Journal;
  #families: readonly (4 | 6)[] = [4];
  #nft: NftSession | undefined;
  #device: Device | undefined;
  #rules: readonly PolicyRule[] = [];
  #routes: ReadonlyMap<string, string> = new Map();
  #closing: Promise<void> | undefined;

  private constructor(ip: string, { journal, log }: CaptureOptions) {
    this.#ip = ip;
    this.#journal = journal;
    this.#log = log;
  }

  /** Rejects with a Failure, and nothing has changed then. */
  static async start(options: CaptureOptions): Promise<Capture> {
    const capture = new Capture(requireProgram('ip', 'iproute2'), options);
    try {
      await capture.#start(options);
      return capture;
    } catch (error) {
      await capture.close().catch((problem: unknown) => options.log.error({ err: problem }, 'what was begun could not be undone'));
      throw asFailure(error);
    }
  }

  /** Resolves when the rules are gone, asked or not. */
  get rulesLost(): Promise<void> {
    return this.#nft?.ended ?? Promise.resolve();
  }

  /** Rejects with a Failure, and nothing has changed then. */
  async change(networks: CapturedNetworks): Promise<void> {
    const next = parseNetworks(networks);
    const routes = networkRoutes(next, this.#families);
    const changes = routeChanges(this.#routes, routes);
    try {
      // Without its route a network's connections would have no source address that stays.
      await this.#batch(changes.before);
      await this.#nft?.run(setStatements(next));
    } catch (error) {
      const back = routeChanges(routes, this.#routes);
      await this.#batch(back.before).catch(() => undefined);
      await this.#batch(back.after).catch(() => undefined);
      throw new Failure('NETWORKS_NOT_CHANGED', `the captured networks could not be changed: ${messageOf(error)}`, { cause: error });
    }
    this.#routes = routes;
    await this.#batch(changes.after).catch((error: unknown) => this.#log.warn({ err: error }, 'a route was not removed'));
  }

  /** Everything as before; connections of this machine that were captured are reset. Rejects when a part could not be undone, which stays in the journal. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start({ journal, networks, datagrams, handOver }: CaptureOptions): Promise<void> {
    const nft = requireProgram('nft', 'nftables');
    this.#families = await machineFamilies(this.#ip);
    const rules = policyRules(this.#families);

    journal.set(journalKeys.device, { device: addresses.device });
    this.#device = await Device.make(this.#ip, this.#families);

    const listeners = await openListeners(this.#families);
    const answerable = new Answerable();
    carryDatagrams({ channel: datagrams, listeners: listeners.datagrams, onTaken: answerable.taken, mayAnswer: answerable.has });
    await handOver(listeners);

    journal.set(journalKeys.rules, { rules });
    this.#rules = rules;
    const session = await NftSession.start(nft);
    this.#nft = session;
    await session.run(captureRules(listeners.ports));
    await this.change(networks);
    // All have ended before one is removed again: what is still being added would stay.
    const added = await Promise.allSettled(rules.map(async (rule) => await run(this.#ip, ruleArguments('add', rule))));
    for (const outcome of added) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** What the kernel has first: the disk may be slow. */
  async #close(): Promise<void> {
    if (this.#nft !== undefined) this.#resetClients();
    await this.#nft?.close();
    const [device, rules] = await Promise.allSettled([
      this.#device?.close(),
      Promise.all(this.#rules.map(async (rule) => await run(this.#ip, ruleArguments('delete', rule)).catch(unlessGone))),
    ]);
    if (device.status === 'fulfilled') this.#journal.delete(journalKeys.device);
    if (rules.status === 'fulfilled') this.#journal.delete(journalKeys.rules);
    for (const outcome of [device, rules]) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** They have the source address that only captured ones have. With the rules the kernel forgets where their peers are: they would wait for long. */
  #resetClients(): void {
    try {
      destroyTcpSockets([addresses.own, addresses.own6]);
    } catch (error) {
      // The kernel may lack it (CONFIG_INET_DIAG_DESTROY): most have been ended by the agent's end.
      this.#log.debug({ reason: messageOf(error) }, 'connections were not reset');
    }
  }

  async #batch(lines: string): Promise<void> {
    if (lines !== '') await run(this.#ip, ['-batch', '-'], lines);
  }
}

function unlessGone(error: unknown): void {
  if (!/No such file or directory/u.test(messageOf(error))) throw error;
}

function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const message = messageOf(error);
  if (/nft/u.test(message) || /Could not process rule|Operation not supported/u.test(message)) {
    return new Failure('KERNEL_FEATURE_MISSING', `the machine's traffic cannot be captured: ${message}`, {
      likely:
        'the kernel lacks nf_tables modules that the capture needs, or is older than 5.12, which has tables that end with their owner',
      remedy: 'load them: sudo modprobe -a nft_tproxy nft_socket nft_chain_nat nft_ct nft_fib_inet nft_redir nft_masq nft_reject_inet',
      cause: error,
    });
  }
  return new Failure('MACHINE_SETUP_FAILED', `the machine's traffic cannot be captured: ${message}`, {
    remedy: 'run "kpctl doctor", which tells what this machine lacks; or join single commands with kpctl run -- COMMAND',
    cause: error,
  });
}
