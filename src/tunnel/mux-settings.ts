import type { LivenessTimes } from './liveness.ts';

/** How a session is set up, once both ends have said hello. */
export interface MuxSettings {
  readonly id: string;
  /** The laptop's streams have odd numbers, the pod's even ones. */
  readonly side: 'laptop' | 'pod';
  /** What our HELLO granted. */
  readonly window: number;
  readonly times: LivenessTimes;
  /** What our HELLO named. */
  readonly features: readonly string[];
}
