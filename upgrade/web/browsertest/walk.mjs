// A person's way through a whole upgrade, in a real browser. The Go test that starts it has a server and devices running, and
// says where in the environment; what goes wrong is written to stderr, with exit status 1.
import { chromium } from "playwright-core";
import { AxeBuilder } from "@axe-core/playwright";

const { BASE, OPERATOR, APPROVER, MANIFEST, IMAGE, CHROMIUM, SHOTS } = process.env;
const desktop = { width: 1200, height: 760 };
const phone = { width: 390, height: 780 };
const faults = [];

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });

async function person(token) {
	const context = await browser.newContext({ viewport: desktop, colorScheme: "light", reducedMotion: "reduce" });
	const page = await context.newPage();
	page.setDefaultTimeout(20000);
	page.on("pageerror", (e) => faults.push(`${page.url()}: ${e}`));
	page.on("console", (m) => {
		if (m.type() === "error" && !/status of (401|403|404|409|422)/.test(m.text())) faults.push(`${page.url()}: ${m.text()}`);
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
async function check(page, name) {
	for (const [look, viewport] of [["desktop", desktop], ["phone", phone]]) {
		await page.setViewportSize(viewport);
		for (const colorScheme of ["light", "dark"]) {
			await page.emulateMedia({ colorScheme });
			if (look === "phone" && colorScheme === "dark" && !SHOTS) continue; // nothing that was not seen before
			if (!SHOTS || look === "desktop") await axe(page, `${name}, ${look}, ${colorScheme}`);
			const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
			if (over > 0) faults.push(`${name}, ${look}: ${over} pixels are beyond the side`);
			await page.evaluate(() => scrollTo(0, 0));
			if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-${look}-${colorScheme}.png` });
		}
	}
	await page.setViewportSize(desktop);
	await page.emulateMedia({ colorScheme: "light" });
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
	await anna.goto(BASE + "/devices");
	await check(anna, "devices");
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

	await anna.goto(BASE + "/campaigns/new");
	await anna.getByLabel("Name").fill("Spring for Berlin");
	await anna.getByLabel("Release").selectOption({ label: "phone 2.0" });
	await anna.getByLabel("Sites").fill("berlin");
	await anna.getByText("4 devices", { exact: true }).waitFor();
	await anna.getByLabel("Ready of all, in %").fill("75");
	await anna.getByLabel("A second person has to approve it").check();
	await anna.getByText("Network").click();
	await anna.getByLabel("Rate in Mbit/s").fill("1.5");
	await check(anna, "draft");
	await anna.getByRole("button", { name: "Review" }).click();
	await anna.getByRole("heading", { name: "Review: Spring for Berlin" }).waitFor();
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
	await check(anna, "campaign-sending");
	await anna.goto(campaign + "/devices");
	await check(anna, "campaign-devices");
	await anna.goto(campaign);
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
	await anna.goto(BASE + "/audit");
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
