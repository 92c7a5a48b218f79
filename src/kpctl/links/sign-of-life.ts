import { deadline } from '../../platform/abort.ts';
import type { Session } from '../../tunnel/index.ts';

/** Whether anything is heard from the far end within so many milliseconds. It is asked something that it need not know: also a refusal is a sign. */
export async function givesSignOfLife(session: Pick<Session, 'request' | 'lastHeard'>, milliseconds: number): Promise<boolean> {
  const before = session.lastHeard;
  try {
    await session.request('ping', {}, { signal: deadline(milliseconds) });
    return true;
  } catch {
    return session.lastHeard > before;
  }
}
