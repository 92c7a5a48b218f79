import type { FlowMessage } from '../flow-messages.ts';

/** The local program of a flow, as far as it can be seen. */
export interface Program {
  readonly pid?: number;
  /** As it was started: `curl`, `python3`. */
  readonly name?: string;
  /** Whose it is. */
  readonly user?: string;
}

/** A flow whose program is to be found; `network`: a process of its network namespace, where that is not this process's own. */
export interface Sought {
  readonly flow: Pick<FlowMessage, 'protocol' | 'direction' | 'program'>;
  readonly network: number | undefined;
}

/** Finds programs: for each of what is sought, in its order; undefined where nothing is found. */
export type FindPrograms = (sought: readonly Sought[]) => Promise<readonly (Program | undefined)[]>;
