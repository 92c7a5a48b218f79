import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { ApiError } from './status.ts';
import { authorize, type User } from './users.ts';

const reviewSchema = z.object({
  spec: z.object({
    resourceAttributes: z.object({
      verb: z.string(),
      group: z.string().default(''),
      resource: z.string(),
      subresource: z.string().optional(),
      namespace: z.string().optional(),
      name: z.string().optional(),
    }),
  }),
});

/** The answer to a SelfSubjectAccessReview (authorization.k8s.io/v1): what `authorize` would say. Rejects with an {@link ApiError} 400. */
export async function reviewAccess(request: IncomingMessage, user: User): Promise<object> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  let review: z.infer<typeof reviewSchema>;
  try {
    review = reviewSchema.parse(JSON.parse(Buffer.concat(chunks).toString()));
  } catch {
    throw new ApiError(400, 'BadRequest', 'the body is no SelfSubjectAccessReview');
  }
  return { kind: 'SelfSubjectAccessReview', apiVersion: 'authorization.k8s.io/v1', metadata: {}, ...review, status: decide(user, review) };
}

function decide(user: User, { spec }: z.infer<typeof reviewSchema>): { readonly allowed: boolean; readonly reason?: string } {
  try {
    authorize(user, spec.resourceAttributes);
    return { allowed: true };
  } catch (error) {
    if (error instanceof ApiError) return { allowed: false, reason: error.message };
    throw error;
  }
}
