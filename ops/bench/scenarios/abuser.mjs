// A tenant that has used its budget up, and from then on is refused until the minute has passed.
import { HOT_CONNECTIONS } from '../settings.mjs';
import { sendLoad } from '../load.mjs';
import { asking, guests } from '../product.mjs';

export async function overBudget(server, requestsPerMinute) {
  const [abuser] = await guests(server, 1);
  const requests = Array.from({ length: requestsPerMinute }, () => asking(abuser));
  await sendLoad(server, { requests, order: 'once', connections: HOT_CONNECTIONS, seconds: 60 });
  return abuser;
}
