import { z } from 'zod';

/** How the demo's program inside the lab's namespaces is to go on: its one argument, as JSON. */
export const insideTaskSchema = z.discriminatedUnion('kind', [
  /** Play the stories, then end with 0, or 1 when a line of them was not borne out. */
  z.object({ kind: z.literal('play') }),
  /** Stay until the parent goes; write the kubeconfig for the machine outside into `directory`. */
  z.object({ kind: z.literal('keep'), directory: z.string() }),
]);
export type InsideTask = z.infer<typeof insideTaskSchema>;

/** What it tells its parent: where it runs, at once; and when the lab is to be kept, that it is ready. */
export const insideMessageSchema = z.discriminatedUnion('type', [
  /** `pid:[…]`, by which the parent looks for processes afterwards. */
  z.object({ type: z.literal('started'), pidNamespace: z.string() }),
  z.object({ type: z.literal('ready'), kubeconfig: z.string(), namespace: z.string() }),
]);
export type InsideMessage = z.infer<typeof insideMessageSchema>;
export type InsideReady = Extract<InsideMessage, { type: 'ready' }>;
