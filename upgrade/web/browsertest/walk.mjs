// A person's way through a whole upgrade, in a real browser. The Go test that starts it has a server and devices running, and
// says where in the environment; what goes wrong is written to stderr, with exit status 1.
import { chromium } from "playwright-core";
import { AxeBuilder } from "@axe-core/playwright";

const { BASE, OPERATOR, APPROVER, MANIFEST, IMAGE, CHROMIUM, SHOTS, BESIDE } = process.env;
const desktop = { width: 1200, height: 760 };
const phone = { width: 390, height: 780 };
const faults = [];
let cut = false; // the server is away, as it should be

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });

async function person(token) {
	const context = await browser.newContext({ viewport: desktop, colorScheme: "light", reducedMotion: "reduce", timezoneId: "America/New_York", locale: "en-GB" });
	const page = await context.newPage();
	page.setDefaultTimeout(20000);
	page.on("pageerror", (e) => faults.push(`${page.url()}: ${e}`));
	page.on("console", (m) => {
		if (m.type() === "error" && !cut && !/status of (401|403|404|409|422)/.test(m.text())) faults.push(`${page.url()}: ${m.text()}`);
	});
	page.on("request", (r) => {
		if (!r.url().startsWith(BASE) && !r.url().startsWith("data:")) faults.push(`${r.url()} is fetched from elsewhere`);
	});
	await page.goto(BASE + "/");
	if (token === OPERATOR) await check(page, "login");
	await page.getByLabel("Token").fill(token);
	await page.getByRole("button", { name: "Log in" }).click();
	await page.getByRole("heading", { name: "Overview" }).waitFor();
	return page;
}

async function axe(page, where) {
	const { violations } = await new AxeBuilder({ page }).analyze();
	for (const v of violations) {
		if (v.impact === "serious" || v.impact === "critical") {
			faults.push(`${where}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join("; ")}`);
		}
	}
}

// check looks at a page in all of its looks: whether everybody can use it, and whether it fits.
async function check(page, name, fullPage = false) {
	for (const [look, viewport] of [["desktop", desktop], ["phone", phone]]) {
		await page.setViewportSize(viewport);
		for (const colorScheme of ["light", "dark"]) {
			await page.emulateMedia({ colorScheme });
			if (look === "desktop" || colorScheme === "dark") await axe(page, `${name}, ${look}, ${colorScheme}`); // the rest has the colours of one and the layout of the other
			const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
			if (over > 0) faults.push(`${name}, ${look}: ${over} pixels are beyond the side`);
			await page.evaluate(() => scrollTo(0, 0));
			if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-${look}-${colorScheme}.png`, fullPage });
		}
	}
	await page.setViewportSize(desktop);
	await page.emulateMedia({ colorScheme: "light" });
}

function want(ok, what) {
	if (!ok) faults.push(what);
}

// focused returns the id of what has the focus.
const focused = (page) => page.evaluate(() => document.activeElement.id);

// byKeyboard gets to the content of a page without a mouse.
async function byKeyboard(page) {
	await page.evaluate(() => document.activeElement.blur());
	await page.keyboard.press("Tab");
	want((await page.evaluate(() => document.activeElement.textContent)) === "Skip to content", "the first stop of the keyboard is not the link to the content");
	await page.keyboard.press("Enter");
	want((await focused(page)) === "main", "the link to the content does not lead there");
}

// times are told in the zone of who looks, and their titles in UTC, also of what has come since the page was loaded.
async function times(page) {
	const wrong = await page.evaluate(() => [...document.querySelectorAll("time[datetime]")].filter((e) => {
		const t = new Date(e.dateTime);
		const here = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short", timeZone: "America/New_York" }).format(t);
		return e.textContent !== here || e.title !== t.toISOString().slice(0, 16).replace("T", " ") + " UTC";
	}).map((e) => `${e.textContent} (${e.title}) for ${e.dateTime}`));
	for (const w of wrong) faults.push(`${page.url()}: time ${w}`);
	want((await page.locator("time[datetime]").count()) > 0, `${page.url()} has no times`);
}

// outage cuts what keeps a page up to date: it says so, and goes on when the server is back.
async function outage(page) {
	cut = true;
	await fetch(`${BESIDE}/cut`);
	await page.getByText(/Not live since \d\d:\d\d:\d\d; trying again\./).waitFor();
	await check(page, "not-live");
	await fetch(`${BESIDE}/mend`);
	await page.locator("[data-stale]").waitFor({ state: "hidden" });
	cut = false;
}

// confirm presses a button that asks, and says yes in the dialog.
async function confirm(page, name, shot) {
	await page.getByRole("main").getByRole("link", { name, exact: true }).click();
	const dialog = page.getByRole("dialog");
	await dialog.waitFor();
	if (shot) await check(page, shot);
	await dialog.getByRole("button", { name, exact: true }).click();
	await dialog.waitFor({ state: "hidden" });
}

async function walk() {
	const anna = await person(OPERATOR);

	await anna.goto(BASE + "/releases");
	await anna.getByLabel("Signed manifest").setInputFiles(MANIFEST);
	await anna.getByLabel("Images").setInputFiles(IMAGE);
	await anna.getByRole("button", { name: "Upload" }).click();
	await anna.getByText("The release is complete.").waitFor();
	await check(anna, "release");
	await anna.goto(BASE + "/releases");
	await check(anna, "releases");

	await anna.goto(BASE + "/");
	await check(anna, "overview");
	await byKeyboard(anna);
	await times(anna);
	await outage(anna);
	await anna.goto(BASE + "/devices");
	await check(anna, "devices");
	await anna.getByRole("link", { name: "Site", exact: true }).press("Enter");
	await anna.locator("th[aria-sort=ascending]", { hasText: "Site" }).waitFor();
	await anna.goto(BASE + "/network");
	await check(anna, "network-none");
	await anna.getByLabel("Of each site").fill("3");
	await anna.getByRole("button", { name: "Examine" }).click();
	await anna.getByText("5 devices are asked", { exact: false }).waitFor();
	await anna.goto(BASE + "/enrolments");
	await check(anna, "enrolments-none");
	await anna.getByLabel("Device", { exact: true }).fill("phone-31");
	await anna.getByLabel("Site", { exact: true }).fill("rome");
	await anna.getByRole("button", { name: "Make an enrolment" }).click();
	await anna.getByText("It is shown this once.", { exact: false }).waitFor();
	await anna.locator("#secret").evaluate((e) => (e.textContent = "R8zrS1v0example0of0a0token0wPq3uKxY2mTn4cA"));
	await check(anna, "enrolments");
	await anna.getByRole("link", { name: "Revoke the enrolment of phone-31" }).click();
	await anna.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
	await anna.getByText("The enrolment is revoked.").waitFor();
	await anna.goto(BASE + "/devices/phone-04");
	await check(anna, "device");
	await anna.getByRole("link", { name: "Approve key" }).press("Enter");
	await anna.getByRole("dialog").getByText("Compare the fingerprint").waitFor();
	await check(anna, "approve-device");
	await anna.keyboard.press("Escape");
	await anna.getByRole("dialog").waitFor({ state: "hidden" });
	await anna.getByRole("link", { name: "Approve key" }).click();
	await anna.getByRole("dialog").getByRole("button", { name: "Approve" }).click();
	await anna.getByText("The key of phone-04 is approved.").waitFor();

	// By now the devices that work have had their turns.
	for (let i = 0; i < 20; i++) {
		await anna.goto(BASE + "/network");
		const answers = await anna.locator("tr", { hasText: "berlin" }).locator("[data-label='No answer']").innerText();
		if (answers === "0") break;
		await anna.waitForTimeout(1000);
	}
	await anna.getByText("reception at phone-03: route the group to this site").waitFor();
	await check(anna, "network");
	await anna.goto(BASE + "/devices/phone-03");
	await check(anna, "device-network");

	await anna.goto(BASE + "/campaigns/new");
	await anna.getByLabel("Name").fill("Spring");
	await anna.getByLabel("Release").selectOption({ label: "phone 2.0" });
	await anna.getByLabel("Sites").fill("berlin rome");
	await anna.getByText("6 devices", { exact: true }).waitFor();
	await anna.getByLabel("Ready of all, in %").fill("50");
	await anna.getByLabel("A second person has to approve it").check();
	await anna.getByText("Network").click();
	await anna.getByLabel("Rate in Mbit/s").fill("1.5");
	await anna.getByText("At a time", { exact: true }).click();
	await anna.getByLabel("Time (UTC)").fill("2030-01-02T03:04");
	await anna.getByText("2030-01-01 22:04 in America/New_York").waitFor();
	await anna.getByText("At once", { exact: true }).click();
	await check(anna, "draft");
	await anna.getByRole("button", { name: "Review" }).click();
	await anna.getByRole("heading", { name: "Review: Spring" }).waitFor();
	await check(anna, "review");
	await anna.getByRole("button", { name: "Make the draft" }).click();
	await anna.getByText("A second person has to approve it.", { exact: false }).first().waitFor();
	const campaign = anna.url();

	const bert = await person(APPROVER);
	await bert.goto(campaign);
	await confirm(bert, "Approve");
	await bert.getByText("The campaign is approved.").waitFor();

	// The page of the other person says so by itself.
	await anna.getByRole("link", { name: "Start", exact: true }).waitFor();
	await confirm(anna, "Start", "start");
	await anna.getByText("Sending.").waitFor();
	await anna.locator(".plots").waitFor();
	// Who is about to press a button, or reads a link, stays there while the page changes under it.
	await anna.locator("#verb-abort").focus();
	const sent = anna.locator(".figures.small dd").first();
	const before = await sent.innerText();
	await anna.waitForFunction((was) => document.querySelector(".figures.small dd").innerText !== was, before);
	want((await focused(anna)) === "verb-abort", "the focus is lost when the page changes");
	await times(anna);
	await anna.getByText(/losing|receiving/).first().waitFor();
	await check(anna, "campaign-sending", true);
	await anna.goto(campaign + "/devices");
	await check(anna, "campaign-devices");
	await anna.goto(campaign + "/sites");
	await check(anna, "campaign-sites");
	await anna.goto(campaign);
	await anna.getByText("1 approver has to sign before COMMIT.", { exact: false }).first().waitFor({ timeout: 60000 });
	await check(anna, "campaign-signing");
	await anna.getByLabel("Or one of them as text").fill(await (await fetch(`${BESIDE}/sign${new URL(campaign).pathname}`)).text());
	await anna.getByRole("button", { name: "Bring it" }).click();
	await anna.getByText("1 signature is taken.").waitFor();
	await anna.getByText("Somebody has to agree to COMMIT.").waitFor({ timeout: 60000 });
	await check(anna, "campaign-asking");
	if (SHOTS) await anna.locator(".plots").screenshot({ path: `${SHOTS}/campaign-plots-desktop-light.png` });
	await confirm(anna, "Commit", "commit");
	await anna.getByText("You committed.").waitFor();
	await anna.locator(".steps li", { hasText: "committed" }).getByText("3", { exact: true }).waitFor({ timeout: 60000 });
	await check(anna, "campaign-committed");
	await bert.getByText(/COMMIT/).first().waitFor();

	await anna.goto(BASE + "/campaigns");
	await check(anna, "campaigns");
	await anna.goto(BASE + "/devices/phone-01");
	await check(anna, "device-history");
	await anna.goto(BASE + "/audit");
	await times(anna);
	await check(anna, "audit");
	await anna.goto(BASE + "/tokens");
	await anna.getByLabel("Name of the person").fill("vera");
	await anna.getByLabel("Role").selectOption("viewer");
	await anna.getByRole("button", { name: "Make" }).click();
	await anna.getByText("It is shown this once.").waitFor();
	await anna.locator("#secret").evaluate((e) => (e.textContent = "R8zrS1v0example0of0a0token0wPq3uKxY2mTn4cA"));
	await check(anna, "tokens");
	await anna.goto(BASE + "/nowhere");
	await check(anna, "error");
}

try {
	await walk();
} catch (e) {
	faults.push(String(e.stack || e));
	for (const page of browser.contexts().flatMap((c) => c.pages())) faults.push(`${page.url()} shows:\n${await page.locator("main").innerText()}`);
}
await browser.close();
for (const fault of new Set(faults)) console.error(fault);
process.exit(faults.length ? 1 : 0);
