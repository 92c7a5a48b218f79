import { readdirSync, unlinkSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { systemCode } from '../../platform/errors.ts';
import { runtimeDirectory } from '../../platform/runtime-directory.ts';
import { leaveAnswerSchema, statusReportSchema, upStatusSchema, type StatusReport, type UpStatus } from './messages.ts';

/** The name of the control socket of `kpctl up`: a user has one at most. */
export const UP_SOCKET = 'up.sock';

/** A running `kpctl` of this user. */
export interface RunningInstance {
  readonly report: StatusReport;
  /** Asks it to stop; resolves once it has said that it will. */
  leave(options?: AbortOptions): Promise<void>;
}

/**
 * This user's running intercepts and runs, asked in parallel. A socket on which nobody listens was left by a
 * killed `kpctl`: it is removed. One that does not answer within two seconds is passed over.
 */
export async function runningInstances(options: AbortOptions = {}): Promise<RunningInstance[]> {
  const directory = runtimeDirectory();
  const paths = readdirSync(directory)
    .filter((name) => /^\d+\.sock$/.test(name))
    .map((name) => join(directory, name));
  const instances = await Promise.all(paths.map((path) => askInstance(path, options)));
  return instances.filter((instance) => instance !== undefined).sort((a, b) => a.report.since.localeCompare(b.report.since));
}

async function askInstance(path: string, options: AbortOptions): Promise<RunningInstance | undefined> {
  try {
    const report = statusReportSchema.parse(await ask(path, 'GET', '/status', options));
    return {
      report,
      leave: async (leaveOptions = {}) => {
        leaveAnswerSchema.parse(await ask(path, 'POST', '/leave', leaveOptions));
      },
    };
  } catch (error) {
    if (systemCode(error) === 'ECONNREFUSED') removeStale(path);
    return undefined;
  }
}

/** This user's `kpctl up`; undefined: there is none, or it does not answer. */
export async function runningUp(options: AbortOptions = {}): Promise<UpStatus | undefined> {
  const path = join(runtimeDirectory(), UP_SOCKET);
  try {
    return upStatusSchema.parse(await ask(path, 'GET', '/status', options));
  } catch (error) {
    if (systemCode(error) === 'ECONNREFUSED') removeStale(path);
    return undefined;
  }
}

/** Asks the process behind a named control socket to stop; false: nobody listens there. */
export async function leaveNamed(name: string, options: AbortOptions = {}): Promise<boolean> {
  const path = join(runtimeDirectory(), name);
  try {
    leaveAnswerSchema.parse(await ask(path, 'POST', '/leave', options));
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ECONNREFUSED') removeStale(path);
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false;
    throw error;
  }
}

/** Whether somebody listens on a named control socket. */
export async function controlAnswers(name: string): Promise<boolean> {
  try {
    await ask(join(runtimeDirectory(), name), 'GET', '/', {});
    return true;
  } catch {
    return false;
  }
}

function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // somebody else removed it
  }
}

/** One HTTP request over the UNIX socket; resolves with the JSON of the answer. */
function ask(path: string, method: string, url: string, options: AbortOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath: path, method, path: url, signal: deadline(2_000, options.signal) }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString()));
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on('error', reject);
    request.end();
  });
}
