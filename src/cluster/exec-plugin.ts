import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { z } from 'zod';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure, messageOf, systemCode } from '../platform/errors.ts';
import type { Credential, CredentialSource } from './credential.ts';
import type { ExecConfig } from './kubeconfig-schema.ts';
import type { ContextSettings } from './kubeconfig-schema.ts';
import { pem } from './pem.ts';

/** What a plugin prints: client.authentication.k8s.io, `ExecCredential` (client-authentication.v1). */
const execCredentialSchema = z.object({
  kind: z.literal('ExecCredential'),
  apiVersion: z.string(),
  status: z.object({
    token: z.string().min(1).optional(),
    clientCertificateData: z.string().min(1).optional(),
    clientKeyData: z.string().min(1).optional(),
    expirationTimestamp: z.iso.datetime({ offset: true }).nullish(),
  }),
});

/** client-node's ExecAuth is not used: it knows no 401, no KUBERNETES_EXEC_INFO, no installHint and no interactiveMode. */
interface Cached {
  readonly credential: Credential;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

/** A plugin that says more than this is not printing a credential. */
const MAX_OUTPUT = 1 << 20;
const MAX_ERROR_OUTPUT = 4096;

/**
 * Credentials from an exec plugin (kubernetes.io, Authenticating: client-go credential plugins). It is run when a
 * credential is first needed, when its expirationTimestamp has passed, and after a 401; never twice at once.
 * What it writes to stderr is shown, as kubectl does, because it may ask the user to log in somewhere.
 * Failure: EXEC_PLUGIN_FAILED.
 */
export function execCredentials(exec: ExecConfig, settings: ContextSettings): CredentialSource {
  let cached: Cached | undefined;
  let running: Promise<Cached> | undefined;
  let first = true;

  const run = async (): Promise<Cached> => {
    // Only the first run may read the terminal: later ones happen beside a command that reads it.
    const interactive = exec.interactiveMode !== 'Never' && first && process.stdin.isTTY;
    if (exec.interactiveMode === 'Always' && !interactive) {
      throw pluginFailure(exec, 'it needs a terminal (interactiveMode: Always), and there is none');
    }
    first = false;
    return readCredential(exec, await runPlugin(exec, execInfo(exec, settings, interactive), interactive));
  };

  return {
    current: async ({ signal }: AbortOptions = {}) => {
      signal?.throwIfAborted();
      if (cached !== undefined && cached.expires > Date.now()) return cached.credential;
      running ??= run().finally(() => {
        running = undefined;
      });
      cached = await unlessAborted(running, signal);
      return cached.credential;
    },
    rejected: (credential) => {
      // Another request may have had a new one since.
      if (cached?.credential === credential) cached = undefined;
      return true;
    },
  };
}

function execInfo(exec: ExecConfig, { cluster, server }: ContextSettings, interactive: boolean): string {
  return JSON.stringify({
    kind: 'ExecCredential',
    apiVersion: exec.apiVersion,
    spec: {
      interactive,
      ...(exec.provideClusterInfo === true && {
        cluster: {
          server,
          'tls-server-name': cluster['tls-server-name'],
          'insecure-skip-tls-verify': cluster['insecure-skip-tls-verify'] ?? undefined,
          'certificate-authority-data': pem(
            cluster['certificate-authority-data'],
            cluster['certificate-authority'],
            'certificate authority',
          )?.toString('base64'),
          'proxy-url': cluster['proxy-url'],
        },
      }),
    },
  });
}

async function runPlugin(exec: ExecConfig, info: string, interactive: boolean): Promise<string> {
  const env: NodeJS.ProcessEnv = { ...process.env, KUBERNETES_EXEC_INFO: info };
  for (const { name, value } of exec.env) env[name] = value;
  return await new Promise((resolve, reject) => {
    const child = spawn(exec.command, exec.args, { env, stdio: [interactive ? 'inherit' : 'ignore', 'pipe', 'pipe'] });
    let output = '';
    let complaint = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.length > MAX_OUTPUT) child.kill();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      tell(text);
      complaint = (complaint + text).slice(-MAX_ERROR_OUTPUT);
    });
    child.on('error', (error) => {
      const missing = systemCode(error) === 'ENOENT';
      reject(pluginFailure(exec, missing ? 'there is no such program' : messageOf(error), error));
    });
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output);
      else reject(pluginFailure(exec, complaint.trim() || (signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`)));
    });
  });
}

/** Not by `process.stderr`, which would make a pipe non-blocking, also for the command that `kpctl run` shares it with. */
function tell(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // nobody takes it
  }
}

function readCredential(exec: ExecConfig, output: string): Cached {
  let status: z.infer<typeof execCredentialSchema>['status'];
  try {
    const parsed = execCredentialSchema.parse(JSON.parse(output));
    if (parsed.apiVersion !== exec.apiVersion) throw new Error(`its apiVersion is ${parsed.apiVersion} and not ${exec.apiVersion}`);
    status = parsed.status;
  } catch (error) {
    const reason = error instanceof z.ZodError ? (error.issues[0]?.message ?? '') : messageOf(error);
    throw pluginFailure(exec, `what it printed is not an ExecCredential: ${reason}`, error);
  }
  const { token, clientCertificateData: cert, clientKeyData: key } = status;
  if (token === undefined && (cert === undefined || key === undefined)) {
    throw pluginFailure(exec, 'it printed neither a token nor a client certificate with its key');
  }
  const expires = status.expirationTimestamp == null ? Number.POSITIVE_INFINITY : Date.parse(status.expirationTimestamp);
  return {
    credential: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(cert !== undefined && key !== undefined && { certificate: { cert, key } }),
    },
    expires,
  };
}

function pluginFailure(exec: ExecConfig, reason: string, cause?: unknown): Failure {
  return new Failure('EXEC_PLUGIN_FAILED', `the kubeconfig's credential plugin "${exec.command}" failed: ${reason}`, {
    remedy: exec.installHint?.trim().split('\n')[0] ?? `run it yourself: ${[exec.command, ...exec.args].join(' ')}`,
    ...(cause !== undefined && { cause }),
  });
}

/** The plugin itself goes on: it may be waiting for a log-in that the next request needs too. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
