import type { Socket } from 'node:net';
import { Failure, messageOf } from '../../../platform/errors.ts';
import type { Logger } from '../../../platform/log.ts';
import { machineAddresses } from '../addresses.ts';
import { sendableFailure, type FromAgent } from '../messages.ts';
import { integrateNames, listenForNames, type NamesIntegration } from '../names/index.ts';
import type { Journal } from '../types.ts';
import type { AgentProcess } from './agent-process.ts';
import { Capture } from './capture.ts';
import type { CaptureListeners } from './listeners.ts';

export interface MachineOptions {
  readonly journal: Journal;
  readonly agent: Pick<AgentProcess, 'send'> & { readonly datagrams: Socket };
  /** The rules are gone, and nobody has asked for it. */
  readonly onLost: (why: string) => void;
  readonly log: Logger;
}

/** What an agent may ask for. */
export type MachineRequest = Extract<FromAgent, { type: 'set-up' | 'set-networks' | 'set-names' }>;

/** What the agent has asked for, made of this machine: one thing after the other. */
export class Machine {
  readonly #options: MachineOptions;
  #queue: Promise<void> = Promise.resolve();
  #capture: Capture | undefined;
  #names: NamesIntegration | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: MachineOptions) {
    this.#options = options;
  }

  handle(request: MachineRequest): void {
    this.#queue = this.#queue.then(async () => {
      if (this.#closing === undefined) await this.#answer(request);
    });
  }

  /** Everything as before. Rejects when a part could not be undone, which stays in the journal. */
  close(): Promise<void> {
    // What is under way is undone with the rest.
    this.#closing ??= this.#queue.then(async () => await this.#undo());
    return this.#closing;
  }

  async #answer(request: MachineRequest): Promise<void> {
    const { agent } = this.#options;
    if (request.type === 'set-up') {
      try {
        await this.#setUp(request);
      } catch (error) {
        await this.#undo().catch((problem: unknown) => this.#options.log.error({ err: problem }, 'what was begun could not be undone'));
        await agent.send({ type: 'not-ready', failure: sendableFailure(asFailure(error)) });
      }
      return;
    }
    const { id } = request;
    try {
      if (request.type === 'set-networks') await this.#capture?.change(request.networks);
      else await this.#names?.update(request.names);
      await agent.send({ type: 'changed', id });
    } catch (error) {
      await agent.send({ type: 'changed', id, failure: sendableFailure(asFailure(error)) });
    }
  }

  async #setUp({ networks, names: plan }: Extract<MachineRequest, { type: 'set-up' }>): Promise<void> {
    if (this.#capture !== undefined) throw new Error('the machine is set up already');
    const { journal, agent, log } = this.#options;
    let datagramPorts: readonly number[] = [];
    const capture = await Capture.start({
      journal,
      networks,
      datagrams: agent.datagrams,
      handOver: async (listeners) => {
        datagramPorts = portsOf(listeners);
        await this.#handOver(listeners);
      },
      log,
    });
    this.#capture = capture;
    void capture.rulesLost.then(() => {
      if (this.#closing === undefined && this.#capture === capture)
        this.#options.onLost('the rules of the capture are gone: nft was ended');
    });
    const listeners = await listenForNames();
    await this.#handOver({ flows: [], dnsUdp: listeners.udp, dnsTcp: listeners.tcp });
    this.#names = await integrateNames(plan, {
      journal,
      listeners,
      device: machineAddresses.device,
      onChange: (names) => void agent.send({ type: 'names-changed', names }),
      log,
    });
    const { applied, warnings } = this.#names;
    await agent.send({ type: 'ready', names: applied, warnings: [...warnings], datagramPorts: [...datagramPorts] });
  }

  /** This process's copies are closed, lest they take what is the agent's. */
  async #handOver({ flows, dnsUdp, dnsTcp }: Pick<CaptureListeners, 'flows' | 'dnsUdp' | 'dnsTcp'>): Promise<void> {
    const { agent } = this.#options;
    const all = [
      ...flows.map((listener) => ({ purpose: 'flows' as const, listener })),
      ...dnsTcp.map((listener) => ({ purpose: 'dns-tcp' as const, listener })),
      ...dnsUdp.map((listener) => ({ purpose: 'dns-udp' as const, listener })),
    ];
    await Promise.all(
      all.map(async ({ purpose, listener }) => {
        await agent.send({ type: 'listener', purpose }, listener);
        listener.close();
      }),
    );
  }

  async #undo(): Promise<void> {
    const [names, capture] = [this.#names, this.#capture];
    this.#names = undefined;
    this.#capture = undefined;
    // Those need the device.
    const [outcome] = await Promise.allSettled([names?.close()]);
    await capture?.close();
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

function portsOf({ ports }: CaptureListeners): number[] {
  return [ports.local[4], ports.local[6], ports.containers[4], ports.containers[6]].filter((port) => port !== undefined);
}

function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure('MACHINE_SETUP_FAILED', `this machine could not be joined: ${messageOf(error)}`, {
    remedy: 'run "kpctl doctor", which tells what this machine lacks; or join single commands with kpctl run -- COMMAND',
    cause: error,
  });
}
