import { z } from 'zod';

/**
 * The kubeconfig file (k8s.io/client-go/tools/clientcmd/api/v1/types.go): only what is read. client-node's own
 * parser is not used, see kubeconfig.ts.
 */

const text = z
  .string()
  .nullish()
  .transform((value) => (value === null || value === '' ? undefined : value));
const texts = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const named = z.object({ name: z.string() });

export const execSchema = z.object({
  apiVersion: z.string(),
  command: z.string().min(1),
  args: texts,
  env: z
    .array(z.object({ name: z.string(), value: z.string() }))
    .nullish()
    .transform((value) => value ?? []),
  installHint: text,
  provideClusterInfo: z.boolean().nullish(),
  interactiveMode: z.enum(['Never', 'IfAvailable', 'Always']).nullish().catch(undefined),
});
export type ExecConfig = z.infer<typeof execSchema>;

export const clusterSchema = z.object({
  server: text,
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'tls-server-name': text,
  'proxy-url': text,
});
export type ClusterConfig = z.infer<typeof clusterSchema>;

export const userSchema = z.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  token: text,
  tokenFile: text,
  username: text,
  password: text,
  as: text,
  'as-uid': text,
  'as-groups': texts,
  'as-user-extra': z
    .record(z.string(), z.array(z.string()))
    .nullish()
    .transform((value) => value ?? {}),
  exec: execSchema.nullish(),
  'auth-provider': z
    .object({
      name: z.string(),
      config: z
        .record(z.string(), z.string())
        .nullish()
        .transform((value) => value ?? {}),
    })
    .nullish(),
});
export type UserConfig = z.infer<typeof userSchema>;

export const contextSchema = z.object({ cluster: text, user: text, namespace: text });
export type ContextConfig = z.infer<typeof contextSchema>;

export const kubeconfigSchema = z
  .object({
    'current-context': text,
    clusters: z
      .array(named.extend({ cluster: clusterSchema.nullish() }))
      .nullish()
      .transform((list) => list ?? []),
    users: z
      .array(named.extend({ user: userSchema.nullish() }))
      .nullish()
      .transform((list) => list ?? []),
    contexts: z
      .array(named.extend({ context: contextSchema.nullish() }))
      .nullish()
      .transform((list) => list ?? []),
  })
  .nullable()
  .transform((value) => value ?? { 'current-context': undefined, clusters: [], users: [], contexts: [] });
export type KubeconfigFile = z.infer<typeof kubeconfigSchema>;

/** What one context of the kubeconfig says. Relative paths have been made absolute. */
export interface ContextSettings {
  readonly context: string;
  readonly namespace: string | undefined;
  readonly server: string;
  readonly cluster: ClusterConfig;
  readonly user: UserConfig;
  /** The user's name in the kubeconfig, for messages. */
  readonly userName: string;
}
