import { z } from 'zod';

/** What the user asked of `kpctl up`, as it goes from the front (root) to the agent (the caller), which is started with it as its one argument. */
const upRequestSchema = z.object({
  cluster: z.object({
    namespace: z.string().exactOptional(),
    context: z.string().exactOptional(),
    kubeconfig: z.string().exactOptional(),
    as: z.string().exactOptional(),
    asGroup: z.array(z.string()).exactOptional(),
    transport: z.enum(['spdy', 'websocket']).exactOptional(),
  }),
  /** `deployment/web`: flows leave from its pod. Absent: from the gateway. */
  workload: z.string().exactOptional(),
  /** Networks (CIDR) that are captured, too. */
  also: z.array(z.string()),
  /** Networks (CIDR) that are never captured. */
  never: z.array(z.string()),
});
export type UpRequest = z.infer<typeof upRequestSchema>;

export function encodeUpRequest(request: UpRequest): string {
  return JSON.stringify(request);
}

/** Throws where it is none: the agent was not started by `kpctl up`. */
export function decodeUpRequest(text: string): UpRequest {
  return upRequestSchema.parse(JSON.parse(text));
}
