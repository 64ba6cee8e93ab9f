// A NORM node by NRL's library (libnorm): sends or receives what its arguments say and prints one JSON object per line for
// each event, until its input ends, so it never outlives the test that started it.
//
//     nrl send ADDRESS PORT [name=value ...] [OBJECT ...]
//     nrl recv ADDRESS PORT [name=value ...]
//
// OBJECT is data:PATH:INFO, file:PATH:INFO, or stream:PATH:INFO:SIZE,SIZE,… with the sizes of the messages, used in turn;
// INFO is in hexadecimal and may be empty. What is received lies under dir=, and the event names the file.
#include <normApi.h>

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <list>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using std::map;
using std::string;
using std::vector;

static map<string, string> options; // name=value

static string text(const string& name, const string& otherwise = "") {
    auto at = options.find(name);
    return at == options.end() ? otherwise : at->second;
}

static double number(const string& name, double otherwise = 0) {
    string value = text(name);
    return value.empty() ? otherwise : atof(value.c_str());
}

static bool has(const string& name) { return options.count(name) > 0; }

static void fail(const string& what) {
    fprintf(stderr, "nrl: %s\n", what.c_str());
    exit(1);
}

static vector<string> split(const string& s, char separator) {
    vector<string> parts;
    std::stringstream in(s);
    for (string part; getline(in, part, separator);) parts.push_back(part);
    return parts;
}

static string slurp(const string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) fail("cannot read " + path);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
}

static string unhex(const string& hex) {
    string s;
    for (size_t i = 0; i + 1 < hex.size(); i += 2) s += char(strtol(hex.substr(i, 2).c_str(), nullptr, 16));
    return s;
}

static string hex(const string& s) {
    string out;
    char digits[3];
    for (unsigned char c : s) {
        snprintf(digits, sizeof digits, "%02x", c);
        out += digits;
    }
    return out;
}

// --- what is sent

// A Stream is written as far as its buffer has room, and goes on when there is vacancy.
struct Stream {
    NormObjectHandle handle = NORM_OBJECT_INVALID;
    string content;
    vector<size_t> sizes; // of the messages, in turn
    size_t written = 0, message = 0, end = 0;
    bool closed = false;

    void write() {
        while (written < content.size()) {
            if (written == end) end = std::min(content.size(), written + sizes[message++ % sizes.size()]);
            unsigned n = NormStreamWrite(handle, content.data() + written, unsigned(end - written));
            if (n == 0) return;
            written += n;
            if (written == end) NormStreamMarkEom(handle);
        }
        if (closed) return;
        closed = true;
        NormStreamFlush(handle, true, NORM_FLUSH_ACTIVE);
        if (!has("open")) NormStreamClose(handle, true);
    }
};

static map<NormObjectHandle, Stream> streams;
static std::list<string> kept; // the content and INFO of what is sent: libnorm refers to them

static NormObjectHandle enqueue(NormSessionHandle session, const string& object) {
    vector<string> part = split(object, ':'); // kind, path, info, sizes
    part.resize(4);
    kept.push_back(unhex(part[2]));
    const string& info = kept.back();
    const char* infoPtr = info.empty() ? nullptr : info.data();
    if (part[0] == "file") return NormFileEnqueue(session, part[1].c_str(), infoPtr, info.size());
    kept.push_back(part[1].empty() ? "" : slurp(part[1]));
    const string& content = kept.back();
    if (part[0] == "data") return NormDataEnqueue(session, content.data(), content.size(), infoPtr, info.size());
    if (part[0] != "stream") fail("no object: " + object);
    Stream s;
    s.content = content;
    for (auto& size : split(part[3], ',')) s.sizes.push_back(size_t(atol(size.c_str())));
    s.handle = NormStreamOpen(session, unsigned(number("streambuffer", 1 << 20)), infoPtr, info.size());
    streams[s.handle] = s;
    streams[s.handle].write();
    return s.handle;
}

static size_t allowed = 0; // of the objects that many= asks for; each byte of input allows as many again

// enqueueMany adds objects as far as they are allowed and the queue has room. The content of each is its number in decimal.
static void enqueueMany(NormSessionHandle session) {
    static size_t next = 0;
    while (next < allowed) {
        kept.push_back(std::to_string(next));
        if (NormDataEnqueue(session, kept.back().data(), kept.back().size()) == NORM_OBJECT_INVALID) return;
        next++;
    }
}

static void startSender(NormSessionHandle session, const vector<string>& objects) {
    NormSetGrttEstimate(session, number("grtt", 0.02));
    NormSetGrttMax(session, number("maxgrtt", 10));
    if (has("probe")) NormSetGrttProbingInterval(session, number("probe"), number("probe"));
    NormSetBackoffFactor(session, number("backoff", 4));
    NormSetGroupSize(session, unsigned(number("gsize", 10)));
    NormSetTxRobustFactor(session, int(number("robust", 20)));
    NormSetTxRate(session, number("rate", 10e6));
    NormSetFlowControl(session, number("flow", 2));
    NormSetTxCacheBounds(session, 100 << 20, 8, unsigned(number("cache", 256)));
    if (has("cc")) NormSetCongestionControl(session, true);
    if (has("minrate")) NormSetTxRateBounds(session, number("minrate"), number("maxrate"));
    if (has("unicast")) NormSetTxOnly(session, true); // feedback comes to the port that sends
    if (!NormStartSender(session, NormSessionId(number("instance", 1)), 8 << 20, UINT16(number("segment", 1024)),
                         UINT16(number("block", 64)), UINT16(number("parity", 16)), UINT8(number("fec", 0))))
        fail("NormStartSender refused");
    NormSetAutoParity(session, (unsigned char)(number("auto")));
    for (auto& node : split(text("ack"), ',')) NormAddAckingNode(session, NormNodeId(atol(node.c_str())));
    NormObjectHandle last = NORM_OBJECT_INVALID;
    for (auto& object : objects) {
        last = enqueue(session, object);
        if (last == NORM_OBJECT_INVALID) fail("not enqueued: " + object);
    }
    if (has("ack") && !NormSetWatermark(session, last)) fail("NormSetWatermark refused");
}

// --- what is received

static int received = 0;
static map<NormObjectHandle, FILE*> reading; // streams
static map<NormObjectHandle, string> paths;

static string newPath() { return text("dir", ".") + "/object-" + std::to_string(received++); }

static void startReceiver(NormInstanceHandle instance, NormSessionHandle session) {
    NormSetCacheDirectory(instance, text("dir", ".").c_str());
    string sync = text("sync", "all");
    NormSetDefaultSyncPolicy(session, sync == "current" ? NORM_SYNC_CURRENT : sync == "stream" ? NORM_SYNC_STREAM : NORM_SYNC_ALL);
    NormSetDefaultUnicastNack(session, has("unicastnack"));
    NormSetSilentReceiver(session, has("silent"), int(number("silent", -1)));
    NormSetDefaultRxRobustFactor(session, int(number("robust", 20)));
    NormSetRxCacheLimit(session, (unsigned short)(number("rxcache", 256)));
    if (!NormStartReceiver(session, 16 << 20)) fail("NormStartReceiver refused");
    NormSetRxSocketBuffer(session, 4 << 20);
}

static void readStream(NormObjectHandle object) {
    FILE*& out = reading[object];
    if (out == nullptr) {
        paths[object] = newPath();
        out = fopen(paths[object].c_str(), "wb");
        if (has("seek") && !NormStreamSeekMsgStart(object)) { // not there yet: try again with more data
            fclose(out);
            out = nullptr;
            return;
        }
    }
    char buffer[65536];
    for (;;) {
        unsigned n = sizeof buffer;
        if (!NormStreamRead(object, buffer, &n)) {
            printf("{\"event\":\"break\"}\n"); // the stream lost something that is not coming any more
            NormStreamSeekMsgStart(object);
            return;
        }
        if (n == 0) break;
        fwrite(buffer, 1, n, out);
    }
    fflush(out);
}

static const char* kindOf(NormObjectHandle object) {
    switch (NormObjectGetType(object)) {
        case NORM_OBJECT_DATA: return "data";
        case NORM_OBJECT_FILE: return "file";
        case NORM_OBJECT_STREAM: return "stream";
        default: return "none";
    }
}

static string infoOf(NormObjectHandle object) {
    if (!NormObjectHasInfo(object)) return "";
    string info(NormObjectGetInfoLength(object), '\0');
    NormObjectGetInfo(object, &info[0], UINT16(info.size()));
    return info;
}

static void completed(NormObjectHandle object) {
    string path;
    if (NormObjectGetType(object) == NORM_OBJECT_DATA) {
        path = newPath();
        std::ofstream(path, std::ios::binary).write(NormDataAccessData(object), NormObjectGetSize(object));
    } else if (NormObjectGetType(object) == NORM_OBJECT_FILE) {
        char name[4096] = "";
        NormFileGetName(object, name, sizeof name);
        path = name;
    } else {
        readStream(object);
        path = paths[object];
        if (reading[object]) fclose(reading[object]);
        reading.erase(object);
    }
    printf("{\"event\":\"completed\",\"sender\":%u,\"kind\":\"%s\",\"size\":%lld,\"info\":\"%s\",\"path\":\"%s\"}\n",
           NormNodeGetId(NormObjectGetSender(object)), kindOf(object), (long long)NormObjectGetSize(object),
           hex(infoOf(object)).c_str(), path.c_str());
}

// --- events

static void acks(NormSessionHandle session) {
    printf("{\"event\":\"watermark\",\"acks\":{");
    NormNodeId node = NORM_NODE_NONE;
    NormAckingStatus status;
    const char* comma = "";
    NormGetNextAckingNode(session, nullptr, nullptr); // from the start
    while (NormGetNextAckingNode(session, &node, &status)) {
        printf("%s\"%u\":%s", comma, node, status == NORM_ACK_SUCCESS ? "true" : "false");
        comma = ",";
    }
    printf("}}\n");
}

static void tell(NormSessionHandle session, const NormEvent& e) {
    switch (e.type) {
        case NORM_TX_QUEUE_VACANCY:
        case NORM_TX_QUEUE_EMPTY:
            if (streams.count(e.object)) streams[e.object].write();
            enqueueMany(session);
            break;
        case NORM_TX_OBJECT_SENT: printf("{\"event\":\"sent\",\"kind\":\"%s\"}\n", kindOf(e.object)); break;
        case NORM_TX_FLUSH_COMPLETED: printf("{\"event\":\"flushed\"}\n"); break;
        case NORM_TX_WATERMARK_COMPLETED: acks(session); break;
        case NORM_TX_RATE_CHANGED: printf("{\"event\":\"rate\",\"rate\":%.0f}\n", NormGetTxRate(session)); break;
        case NORM_GRTT_UPDATED: printf("{\"event\":\"grtt\",\"grtt\":%.6f}\n", NormGetGrttEstimate(session)); break;
        case NORM_REMOTE_SENDER_NEW: printf("{\"event\":\"sender\",\"sender\":%u}\n", NormNodeGetId(e.sender)); break;
        case NORM_REMOTE_SENDER_RESET: printf("{\"event\":\"reset\",\"sender\":%u}\n", NormNodeGetId(e.sender)); break;
        case NORM_REMOTE_SENDER_INACTIVE: printf("{\"event\":\"inactive\",\"sender\":%u}\n", NormNodeGetId(e.sender)); break;
        case NORM_RX_OBJECT_NEW: printf("{\"event\":\"object\",\"kind\":\"%s\"}\n", kindOf(e.object)); break;
        case NORM_RX_OBJECT_UPDATED:
            if (NormObjectGetType(e.object) == NORM_OBJECT_STREAM) {
                readStream(e.object);
                if (has("open") && paths.count(e.object)) {
                    long n = reading[e.object] ? ftell(reading[e.object]) : 0;
                    printf("{\"event\":\"read\",\"size\":%ld,\"path\":\"%s\"}\n", n, paths[e.object].c_str());
                }
            }
            break;
        case NORM_RX_OBJECT_COMPLETED: completed(e.object); break;
        case NORM_RX_OBJECT_ABORTED: printf("{\"event\":\"aborted\",\"kind\":\"%s\"}\n", kindOf(e.object)); break;
        default: break;
    }
    fflush(stdout);
}

int main(int argc, char** argv) {
    alarm(120); // whatever happens
    if (argc < 4) fail("want send or recv, an address and a port");
    string role = argv[1];
    vector<string> objects;
    for (int i = 4; i < argc; i++) {
        string arg = argv[i];
        size_t equals = arg.find('='), colon = arg.find(':');
        if (equals != string::npos && equals < colon) options[arg.substr(0, equals)] = arg.substr(equals + 1);
        else objects.push_back(arg);
    }

    NormInstanceHandle instance = NormCreateInstance();
    NormSessionHandle session = NormCreateSession(instance, argv[2], UINT16(atoi(argv[3])), NormNodeId(number("id")));
    if (session == NORM_SESSION_INVALID) fail("NormCreateSession refused");
    if (has("iface")) NormSetMulticastInterface(session, text("iface").c_str());
    if (has("txport")) NormSetTxPort(session, UINT16(number("txport")));
    NormSetTTL(session, 1);
    NormSetMulticastLoopback(session, true);
    if (!has("unicast")) NormSetRxPortReuse(session, true);
    if (role == "send") startSender(session, objects);
    else startReceiver(instance, session);
    int major, minor, patch;
    NormGetVersion(&major, &minor, &patch);
    printf("{\"event\":\"ready\",\"version\":\"%d.%d.%d\"}\n", major, minor, patch);
    fflush(stdout);

    pollfd waits[] = {{NormGetDescriptor(instance), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    for (;;) {
        if (poll(waits, 2, -1) < 0) fail("poll");
        if (waits[1].revents) {
            char more;
            if (read(STDIN_FILENO, &more, 1) <= 0) break; // the test is done with us
            allowed += size_t(number("many"));
            enqueueMany(session);
        }
        NormEvent e;
        while (NormGetNextEvent(instance, &e, false)) tell(session, e);
    }
    NormDestroyInstance(instance);
}
